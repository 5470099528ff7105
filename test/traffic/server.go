package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/vetch-dev/vetch/test/conversation"
)

// server serves what its flags ask for until SIGTERM or SIGINT, then prints the report. A conversation is served to the end of its connections.
func server(args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	address := flags.String("listen", "127.0.0.1:0", "address to listen on")
	script := flags.String("script", "", "name of the conversation to play; empty: HTTP")
	repeat := flags.Int("repeat", 1, "times that the conversation is played on a connection")
	connections := flags.Int("connections", 1, "connections on which the conversation is played")
	secure := flags.String("tls", "", "do TLS: "+tlsCounted+", "+tlsBare+", "+tlsBehind+" or "+tlsHidden)
	if err := flags.Parse(args); err != nil {
		return err
	}
	return serve(*address, *script, *secure, *connections, *repeat)
}

func serve(address, script, secure string, connections, repeat int) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
	tally := conversation.NewTally()
	if secure != "" {
		encrypting, err := serveTLS(listener, secure, tally)
		if err != nil {
			return err
		}
		go serveHTTP(encrypting, tally)
	} else if script == "" {
		go serveHTTP(counting{listener, tally}, tally)
	} else {
		go func() {
			serveScript(listener.(*net.TCPListener), script, connections, repeat, tally)
			stopped <- syscall.SIGTERM
		}()
	}
	fmt.Println("listening", listener.Addr())
	<-stopped
	listener.Close()
	return tally.Print(os.Stdout)
}
