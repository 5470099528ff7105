// Command kfake runs the fake Kafka broker of franz-go, and another in TLS where it is told to, for tests: what it keeps is gone when it ends.
package main

import (
	"context"
	"crypto/tls"
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
	secure := flag.String("tls", "", "address of another broker, in TLS; empty: none")
	cert := flag.String("cert", "", "file of the certificate")
	key := flag.String("key", "", "file of its key")
	password := flag.String("password", "", "what the user \"user\" has to say by SASL PLAIN; anybody may connect if it is empty")
	topics := flag.String("topics", "orders", "topics of one partition, with commas between")
	flag.Parse()
	if err := run(*listen, *secure, *cert, *key, *password, strings.Split(*topics, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "kfake:", err)
		os.Exit(1)
	}
}

func run(listen, secure, cert, key, password string, topics []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	broker, err := start(listen, password, topics)
	if err != nil {
		return err
	}
	defer broker.Close()
	if secure != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("read the certificate: %w", err)
		}
		other, err := start(secure, password, topics, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
		if err != nil {
			return err
		}
		defer other.Close()
	}
	<-ctx.Done()
	return nil
}

func start(listen, password string, topics []string, options ...kfake.Opt) (*kfake.Cluster, error) {
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("read the address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("read the port: %w", err)
	}
	options = append(options, kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(1, topics...))
	if password != "" {
		options = append(options, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", password))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	return cluster, nil
}
