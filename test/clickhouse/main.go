// Command clickhouse is a client of ClickHouse's native protocol by clickhouse-go or ch-go, and a small server by the protocol package of ch-go, for the
// revisions that are newer than those of Debian's server. It is a module of its own because they need other versions of libraries than vetch.
//
//	clickhouse serve 127.0.0.1:9000
//	clickhouse ask 127.0.0.1:9000 VALUE CLIENT COMPRESSION
//
// "ask" prints "ready", then reads lines: each is a number of rounds, and it prints "done" after them. CLIENT is clickhouse-go or ch-go, COMPRESSION
// none, lz4 or zstd.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
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
		return serve(args[1])
	case len(args) == 5 && args[0] == "ask":
		return ask(args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: clickhouse serve ADDRESS | clickhouse ask ADDRESS VALUE CLIENT COMPRESSION")
}

// asker makes one round of queries.
type asker interface {
	round(value string) error
	Close() error
}

func ask(address, value, client, compression string) (err error) {
	var a asker
	switch client {
	case "clickhouse-go":
		a, err = newSQL(address, value, compression)
	case "ch-go":
		a, err = newNative(address, value, compression)
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
