// Command clickhouse is a client of ClickHouse's native protocol by clickhouse-go or ch-go, and a small server by the protocol package of ch-go, for the
// revisions that are newer than those of Debian's server. It is a module of its own because they need other versions of libraries than vetch.
//
//	clickhouse serve 127.0.0.1:9000 [127.0.0.1:9440 FOLDER]
//	clickhouse ask 127.0.0.1:9000 plain|tls VALUE CLIENT COMPRESSION
//
// The second address is for TLS, with cert.pem and key.pem of the folder. "ask" prints "ready", then reads lines: each is a number of rounds, and it prints "done" after them. CLIENT is clickhouse-go or ch-go, COMPRESSION
// none, lz4 or zstd. Anything but "plain" is TLS, in which everybody is trusted.
package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1], nil)
	case len(args) == 4 && args[0] == "serve":
		pair, err := tls.LoadX509KeyPair(filepath.Join(args[3], "cert.pem"), filepath.Join(args[3], "key.pem"))
		if err != nil {
			return err
		}
		go serve(args[2], &tls.Config{Certificates: []tls.Certificate{pair}}) //nolint:errcheck // its clients will tell
		return serve(args[1], nil)
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
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		for range n {
			if err := a.round(value); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return errors.Join(lines.Err(), a.Close())
}
