package main

import (
	"fmt"
	"net"

	"github.com/vetch-dev/vetch/test/conversation"
)

// playScript plays the client's end of the conversation, s.repeat times on each of s.requests connections.
func playScript(s settings, tally *conversation.Tally, _ *gate) error {
	script, found := conversation.Find(s.script)
	if !found {
		return fmt.Errorf("no conversation is named %q", s.script)
	}
	for range s.requests {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		tally.Opened()
		for range s.repeat {
			moved, err := conversation.Play(conn.(*net.TCPConn), conversation.Client, script)
			tally.Moved(moved.Sent, moved.Received)
			if err != nil {
				conn.Close()
				return err
			}
			for _, w := range script.Want {
				tally.Request(w.Method, w.Route, w.Code, w.Count)
			}
		}
		if err := conversation.Finish(conn.(*net.TCPConn), conversation.Client, script); err != nil {
			return err
		}
	}
	return nil
}

// connect only connects and closes. What fails is expected to, and is counted under the method "connect" with the code 0.
func connect(s settings, tally *conversation.Tally, _ *gate) error {
	for range s.requests {
		conn, err := net.DialTimeout("tcp", s.address, s.timeout)
		if err != nil {
			tally.Request("connect", err.Error(), 0, 1)
			continue
		}
		tally.Opened()
		if err := conn.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}
