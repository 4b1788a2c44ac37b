// Command keda makes the calls that KEDA makes of an external scaler, with KEDA's own messages.
//
//	keda [-ca FILE] ADDRESS CALL NAMESPACE METADATA
//
// METADATA is a JSON object of strings. Each answer is a line of JSON; an error is a line with its
// code and words. StreamIsActive goes on until it is killed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	keda "github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func main() {
	authority := flag.String("ca", "", "certificate of the server's authority; none: in the clear")
	flag.Parse()
	metadata := map[string]string{}
	if flag.NArg() != 4 || json.Unmarshal([]byte(flag.Arg(3)), &metadata) != nil {
		fmt.Fprintln(os.Stderr, "usage: keda [-ca FILE] ADDRESS CALL NAMESPACE METADATA")
		os.Exit(2)
	}
	reference := &keda.ScaledObjectRef{
		Name: "scaled", Namespace: flag.Arg(2), ScalerMetadata: metadata,
	}
	if err := call(*authority, flag.Arg(0), flag.Arg(1), reference); err != nil {
		line, _ := json.Marshal(map[string]string{
			"code": status.Code(err).String(), "message": status.Convert(err).Message(),
		})
		fmt.Println(string(line))
	}
}

func call(authority, address, name string, reference *keda.ScaledObjectRef) error {
	security := insecure.NewCredentials()
	if authority != "" {
		var err error
		if security, err = credentials.NewClientTLSFromFile(authority, "localhost"); err != nil {
			return err
		}
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(security))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := keda.NewExternalScalerClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch name {
	case "IsActive":
		return tell(client.IsActive(ctx, reference))
	case "GetMetricSpec":
		return tell(client.GetMetricSpec(ctx, reference))
	case "GetMetrics":
		return tell(client.GetMetrics(ctx, &keda.GetMetricsRequest{ScaledObjectRef: reference}))
	case "StreamMetricSpec":
		stream, err := client.StreamMetricSpec(ctx, reference)
		if err != nil {
			return err
		}
		return tell(stream.Recv())
	case "StreamIsActive":
		stream, err := client.StreamIsActive(context.Background(), reference)
		for err == nil {
			var answer *keda.IsActiveResponse
			if answer, err = stream.Recv(); err == nil {
				err = tell(answer, nil)
			}
		}
		return err
	}
	return fmt.Errorf("no such call: %s", name)
}

func tell(answer proto.Message, err error) error {
	if err == nil {
		// Zeros are told too: here they are answers.
		options := protojson.MarshalOptions{EmitUnpopulated: true}
		fmt.Println(options.Format(answer))
	}
	return err
}
