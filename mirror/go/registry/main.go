// The registry of a mirror keeps its content in a folder. Upstream's own program also has the drivers of three clouds and
// their SDKs: two fifths of its packages, and half of its size.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
