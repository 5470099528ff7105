// Package tls finds the programs and libraries that speak TLS, and the places in them where plain text can be seen.
package tls

import "errors"

// Library is who does the TLS, as it is called in the label "library".
type Library string

// Go is the Go standard library's crypto/tls.
const Go Library = "go"

// Point is one place in a file, and the kernel program that is to run there.
type Point struct {
	Program string // name of the kernel program: "go_tls_write"
	Offset  uint64 // bytes from the beginning of the file
	Return  bool   // run it when the function that begins there returns; never for Go, whose stacks move
	Counter uint64 // where in the file, and so in each process, the kernel counts (16 bits) how many run it; 0: nowhere
}

// Found is what a file holds.
type Found struct {
	Library Library
	Version string // as far as the file tells: "go1.26.8", "3.0.19"; may be empty
	Points  []Point
}

var (
	// ErrNoTLS says that there is nothing to probe in a file.
	ErrNoTLS = errors.New("no TLS library in this file")
	// ErrMalformed says that a file contradicts itself, or is larger than it may be to be looked through.
	ErrMalformed = errors.New("not a file that can be looked into")
	// ErrTooOld says that a library is older than what can be probed.
	ErrTooOld = errors.New("the library is too old")
	// ErrStripped says that the file does not tell where its functions are.
	ErrStripped = errors.New("the places of its functions are not in the file")
	// ErrCode says that the machine code is not what was expected.
	ErrCode = errors.New("its machine code cannot be read")
)
