package main

import (
	"fmt"
	"net"

	"github.com/vetch-dev/vetch/test/conversation"
)

// serveScript plays the server's end of the conversation on every connection, and then waits for the client to close.
func serveScript(listener *net.TCPListener, name string, repeat int, tally *conversation.Tally) {
	script, found := conversation.Find(name)
	if !found {
		tally.Failed(fmt.Errorf("no conversation is named %q", name))
		return
	}
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		tally.Opened()
		go func() {
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
		}()
	}
}
