//go:build tools

// Package tools pins the main packages that the mirror builds from this module.
package tools

import _ "sigs.k8s.io/dra-example-driver/cmd/dra-example-kubeletplugin"
