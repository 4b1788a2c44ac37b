//go:build tools

// Package tools pins the programs that the local cluster is made of.
package tools

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
