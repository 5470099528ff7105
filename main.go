// Vetch is observability for Kubernetes and plain Linux that needs no change to any application.
package main

import (
	"os"

	"github.com/vetch-dev/vetch/command"
)

func main() {
	os.Exit(command.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
