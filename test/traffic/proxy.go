package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/vetch-dev/vetch/test/conversation"
)

// proxy passes connections on, byte by byte, until SIGTERM. The copies go through splice, so that no system call of it has the bytes in a buffer.
func proxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	address := flags.String("listen", "127.0.0.1:0", "address to listen on")
	target := flags.String("to", "", "host:port to pass connections on to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
	tally := conversation.NewTally()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tally.Opened()
			go func() { tally.Failed(pass(conn, *target)) }()
		}
	}()
	fmt.Println("listening", listener.Addr())
	<-stopped
	listener.Close()
	return tally.Print(os.Stdout)
}

func pass(conn net.Conn, target string) error {
	defer conn.Close()
	upstream, err := net.Dial("tcp", target)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer upstream.Close()
	var there, back error
	var group sync.WaitGroup
	group.Go(func() {
		_, there = io.Copy(upstream, conn)
		there = errors.Join(there, upstream.(*net.TCPConn).CloseWrite())
	})
	group.Go(func() {
		_, back = io.Copy(conn, upstream)
		back = errors.Join(back, conn.(*net.TCPConn).CloseWrite())
	})
	group.Wait()
	return errors.Join(there, back)
}
