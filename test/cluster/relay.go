package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// relay carries a port of this machine's loopback into the control plane's network, so that nothing of the machine's own network is
// changed. It writes the port that it got to a file.
func relay(args []string) error {
	if len(args) != 3 {
		return errors.New("want NAMESPACE ADDRESS FILE")
	}
	namespace, target, file := args[0], args[1], args[2]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := writeFile(file, listener.Addr().String()); err != nil {
		return err
	}
	for {
		from, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			defer from.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			to, err := dialIn(ctx, namespace, target)
			if err != nil {
				return // as the client sees
			}
			defer to.Close()
			join(from, to)
		}()
	}
}

// join carries bytes both ways until both are done.
func join(a, b net.Conn) {
	done := make(chan struct{})
	one := func(to, from net.Conn) {
		io.Copy(to, from) //nolint:errcheck // the other end sees the end of the connection
		if half, ok := to.(*net.TCPConn); ok {
			half.CloseWrite() //nolint:errcheck // it is closed already
		}
	}
	go func() {
		one(a, b)
		close(done)
	}()
	one(b, a)
	<-done
}

// writeFile makes a file that is whole as soon as it is there.
func writeFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}
