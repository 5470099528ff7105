package main

import (
	"fmt"
	"net"
	"sync"

	"github.com/vetch-dev/vetch/test/conversation"
)

// serveScript plays the server's end of the conversation on each of the connections, and waits for the client to close them.
func serveScript(listener *net.TCPListener, name string, connections, repeat int, tally *conversation.Tally) {
	script, found := conversation.Find(name)
	if !found {
		tally.Failed(fmt.Errorf("no conversation is named %q", name))
		return
	}
	var group sync.WaitGroup
	for range connections {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		tally.Opened()
		group.Go(func() {
			defer conn.Close()
			for range repeat {
				moved, err := conversation.Play(conn, conversation.Server, script)
				tally.Moved(moved.Sent, moved.Received)
				if err != nil {
					tally.Failed(err)
					return
				}
			}
			tally.Failed(conversation.Finish(conn, conversation.Server, script))
		})
	}
	group.Wait()
}
