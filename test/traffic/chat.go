package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/vetch-dev/vetch/test/conversation"
)

// chat is a WebSocket server that says again whatever it is told, at any path, until it is killed. Told "close CODE" it closes with that code. A second address is for TLS.
func chat(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if len(args) > 1 {
		other, err := net.Listen("tcp", args[1])
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		encrypting, err := serveTLS(other, tlsBare, conversation.NewTally())
		if err != nil {
			return err
		}
		go http.Serve(encrypting, repeating()) //nolint:errcheck,gosec // a test's server, whose clients will tell
	}
	fmt.Println("listening", listener.Addr())
	return http.Serve(listener, repeating()) //nolint:gosec // a test's server
}

func repeating() http.Handler {
	up := websocket.Upgrader{EnableCompression: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, data, err := conn.ReadMessage() // answers a close frame
			if err != nil {
				return
			}
			if code, told := strings.CutPrefix(string(data), "close "); told {
				n, _ := strconv.Atoi(code)
				conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(n, "as told"), time.Now().Add(5*time.Second)) //nolint:errcheck // the client may be gone
				conn.ReadMessage()                                                                                                   //nolint:errcheck // its answer
				return
			}
			if conn.WriteMessage(kind, data) != nil {
				return
			}
		}
	})
}
