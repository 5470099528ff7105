// Command traffic makes traffic of which every byte and request is known: "traffic server" answers it, "traffic client" asks,
// "traffic proxy" passes it on, "traffic chat" speaks WebSocket.
package main

import (
	"fmt"
	"os"
)

func main() {
	roles := map[string]func([]string) error{"client": client, "server": server, "proxy": proxy, "chat": chat}
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: traffic client|server|proxy|chat [flags]")
		os.Exit(2)
	}
	if err := roles[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
