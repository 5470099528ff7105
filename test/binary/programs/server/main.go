// Command server is a server whose every answer is known: net/http with an answer for each path, or one end of a scripted conversation.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/vetch-dev/vetch/test/binary/programs/report"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	script := flag.String("script", "", "name of the conversation to play; empty: HTTP")
	repeat := flag.Int("repeat", 1, "times that the conversation is played on a connection")
	flag.Parse()
	if err := run(*address, *script, *repeat); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until SIGTERM or SIGINT, then prints the report.
func run(address, script string, repeat int) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
	tally := report.NewTally()
	if script == "" {
		go serveHTTP(listener, tally)
	} else {
		go serveScript(listener.(*net.TCPListener), script, repeat, tally)
	}
	fmt.Println("listening", listener.Addr())
	<-stopped
	listener.Close()
	return tally.Print(os.Stdout)
}
