// Command dubbo is a provider and a consumer of Apache Dubbo over Dubbo2, by dubbo-go. It is a module of its own because dubbo-go
// needs versions of libraries that vetch does not.
//
//	dubbo serve 127.0.0.1:20000 [FOLDER]
//	dubbo ask 127.0.0.1:20000 plain|FOLDER VALUE
//
// In the folder are cert.pem and key.pem, with which both do TLS. "serve" prints "listening" when it does. "ask" goes by package dialogue.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failfast"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/config"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/metadata/service/local"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	_ "dubbo.apache.org/dubbo-go/v3/registry/directory"
	_ "dubbo.apache.org/dubbo-go/v3/registry/protocol"
	"github.com/dubbogo/gost/log/logger"

	"github.com/vetch-dev/vetch/test/dialogue"
)

const service = "org.vetch.shop.Orders"

// Orders is what the provider offers.
type Orders struct{}

// Place answers with what it was given.
func (*Orders) Place(_ context.Context, what string) (string, error) { return what, nil }

// Refuse fails with what it was given.
func (*Orders) Refuse(_ context.Context, what string) (string, error) {
	return "", errors.New("refused " + what)
}

// Reference names the service that provider and consumer mean.
func (*Orders) Reference() string { return "Orders" }

// consumer is filled by dubbo-go.
type consumer struct {
	Place, Refuse func(ctx context.Context, what string) (string, error)
	Missing       func(ctx context.Context, what string) (string, error)
}

func (*consumer) Reference() string { return "Orders" }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dubbo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	logger.SetLoggerLevel("error")
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1], config.NewRootConfigBuilder())
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], encrypting(args[2]))
	case len(args) == 4 && args[0] == "ask" && args[2] == "plain":
		return ask(args[1], args[3], config.NewRootConfigBuilder())
	case len(args) == 4 && args[0] == "ask":
		return ask(args[1], args[3], encrypting(args[2]))
	}
	return errors.New("usage: dubbo serve ADDRESS [FOLDER] | dubbo ask ADDRESS plain|FOLDER VALUE")
}

// encrypting begins a configuration with TLS.
func encrypting(folder string) *config.RootConfigBuilder {
	cert := filepath.Join(folder, "cert.pem")
	return config.NewRootConfigBuilder().SetTLSConfig(config.NewTLSConfigBuilder().SetCACertFile(cert).SetTLSCertFile(cert).SetTLSKeyFile(filepath.Join(folder, "key.pem")).Build())
}

func serve(address string, root *config.RootConfigBuilder) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	config.SetProviderService(&Orders{})
	root.AddProtocol("dubbo", config.NewProtocolConfigBuilder().SetName("dubbo").SetIp(host).SetPort(port).Build()).
		SetProvider(config.NewProviderConfigBuilder().SetFilter("pshutdown").
			AddService("Orders", config.NewServiceConfigBuilder().SetInterface(service).SetProtocolIDs("dubbo").Build()).Build())
	if err := config.Load(config.WithRootConfig(root.Build())); err != nil {
		return err
	}
	fmt.Println("listening")
	select {}
}

func ask(address, value string, root *config.RootConfigBuilder) error {
	var orders consumer
	config.SetConsumerService(&orders)
	root.AddProtocol("dubbo", config.NewProtocolConfigBuilder().SetName("dubbo").SetParams(map[string]any{"connection-number": 1}).Build()).
		SetConsumer(config.NewConsumerConfigBuilder().SetCheck(false).
			AddReference("Orders", config.NewReferenceConfigBuilder().SetInterface(service).SetProtocol("dubbo").
				SetURL("dubbo://"+address+"/"+service).SetCluster("failfast").SetRetries("0").Build()).Build())
	if err := config.Load(config.WithRootConfig(root.Build())); err != nil {
		return err
	}
	return dialogue.Ask(os.Stdin, os.Stdout, func(n int) error {
		for range n {
			if err := round(&orders, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// round makes one call of each kind.
func round(orders *consumer, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if got, err := orders.Place(ctx, value); err != nil || got != value {
		return fmt.Errorf("Place: %q, %w", got, err)
	}
	if _, err := orders.Refuse(ctx, value); err == nil || !strings.Contains(err.Error(), value) {
		return fmt.Errorf("Refuse gave %w", err)
	}
	if _, err := orders.Missing(ctx, value); err == nil {
		return errors.New("Missing was answered")
	}
	return nil
}
