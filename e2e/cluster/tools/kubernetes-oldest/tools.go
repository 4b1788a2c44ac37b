//go:build tools

// Package tools pins the programs that the local cluster is made of.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
