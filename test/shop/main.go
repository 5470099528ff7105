// Command shop is the services of a small shop and a client of known size: what vetch counts of it can be compared with what was sent.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", ":8080", "address to serve at")
	database := flag.String("database", "", "catalog: URL of PostgreSQL")
	redis := flag.String("redis", "", "cart: address of Redis")
	requests := flag.Int("requests", 1, "drive: how many for each target")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var err error
	switch role := flag.Arg(0); role {
	case "catalog":
		err = serveCatalog(ctx, *listen, *database)
	case "cart":
		err = serveCart(ctx, *listen, *redis)
	case "drive":
		err = drive(ctx, *requests, flag.Args()[1:])
	case "idle":
		<-ctx.Done()
	case "crash":
		os.Exit(3)
	case "hoard":
		hoard(ctx)
	default:
		err = fmt.Errorf("want catalog, cart, drive, idle, crash or hoard, not %q", role)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// hoard takes memory until the kernel ends it.
func hoard(ctx context.Context) {
	var all [][]byte
	for ctx.Err() == nil {
		all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		time.Sleep(time.Millisecond)
	}
	log.Print(len(all), " MiB")
}

// serve answers until ctx ends.
func serve(ctx context.Context, listen string, handler http.Handler) error {
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Print("serving at ", listen)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.WithoutCancel(ctx))
	}
}

// patiently tries what needs another service until that is there.
func patiently(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		log.Print("not yet: ", err)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
