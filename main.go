// Vetch is observability for Kubernetes and plain Linux that needs no change to any application.
package main
