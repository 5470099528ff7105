// Command kfake runs the fake Kafka broker of franz-go, for tests: what it keeps is gone when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9092", "address to listen at")
	password := flag.String("password", "", "what the user \"user\" has to say by SASL PLAIN; anybody may connect if it is empty")
	topics := flag.String("topics", "orders", "topics of one partition, with commas between")
	flag.Parse()
	if err := run(*listen, *password, strings.Split(*topics, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "kfake:", err)
		os.Exit(1)
	}
}

func run(listen, password string, topics []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("read the port: %w", err)
	}
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(1, topics...)}
	if password != "" {
		options = append(options, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", password))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer cluster.Close()
	<-ctx.Done()
	return nil
}
