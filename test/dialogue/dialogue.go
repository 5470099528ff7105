// Package dialogue is how the programs that are modules of their own are told to serve and to ask. It is a module itself, so that it brings them no
// version of any library.
package dialogue

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
)

// Serve serves at an address in plain text and, where a second one and a folder are given, there in TLS too, with cert.pem and key.pem of the folder.
// It returns when the first of the two ends.
func Serve(args []string, serve func(address string, encrypting *tls.Config) error) error {
	if len(args) != 1 && len(args) != 3 {
		return fmt.Errorf("serve %q: it takes ADDRESS [ADDRESS FOLDER]", args)
	}
	if len(args) == 1 {
		return serve(args[0], nil)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(args[2], "cert.pem"), filepath.Join(args[2], "key.pem"))
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- serve(args[0], nil) }()
	go func() { ended <- serve(args[1], &tls.Config{Certificates: []tls.Certificate{pair}}) }()
	return <-ended
}

// Ask says "ready", and then reads lines until there are no more: each is a number of rounds, and is answered by "done" when they are made.
func Ask(in io.Reader, out io.Writer, rounds func(n int) error) error {
	fmt.Fprintln(out, "ready")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		if err := rounds(n); err != nil {
			return err
		}
		fmt.Fprintln(out, "done")
	}
	return lines.Err()
}
