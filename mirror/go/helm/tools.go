//go:build tools

// Package tools pins the main packages that the mirror builds from this module.
package tools

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
