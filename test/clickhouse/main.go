// Command clickhouse is a client of ClickHouse's native protocol by clickhouse-go or ch-go, and a small server by the protocol package of ch-go, for the
// revisions that are newer than those of Debian's server. It is a module of its own because they need other versions of libraries than vetch.
//
//	clickhouse serve 127.0.0.1:9000 [127.0.0.1:9440 FOLDER]
//	clickhouse ask 127.0.0.1:9000 plain|tls VALUE CLIENT COMPRESSION
//
// The second address is for TLS. "ask" goes by package dialogue. CLIENT is clickhouse-go or ch-go, COMPRESSION
// none, lz4 or zstd. Anything but "plain" is TLS, in which everybody is trusted.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/vetch-dev/vetch/test/dialogue"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "serve":
		return dialogue.Serve(args[1:], serve)
	case len(args) == 6 && args[0] == "ask":
		var encrypting *tls.Config
		if args[2] != "plain" {
			encrypting = &tls.Config{InsecureSkipVerify: true}
		}
		return ask(args[1], args[3], args[4], args[5], encrypting)
	}
	return errors.New("usage: clickhouse serve ADDRESS [ADDRESS FOLDER] | clickhouse ask ADDRESS plain|tls VALUE CLIENT COMPRESSION")
}

// asker makes one round of queries.
type asker interface {
	round(value string) error
	Close() error
}

func ask(address, value, client, compression string, encrypting *tls.Config) (err error) {
	var a asker
	switch client {
	case "clickhouse-go":
		a, err = newSQL(address, value, compression, encrypting)
	case "ch-go":
		a, err = newNative(address, value, compression, encrypting)
	default:
		err = fmt.Errorf("no client %q", client)
	}
	if err != nil {
		return err
	}
	asked := dialogue.Ask(os.Stdin, os.Stdout, func(n int) error {
		for range n {
			if err := a.round(value); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(asked, a.Close())
}
