// Command ferretdb runs FerretDB, which speaks MongoDB's protocol over SQLite, for tests. It has a module of its own, so that its many
// dependencies are none of vetch's.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:27017", "address to listen at")
	secure := flag.String("tls", "", "address to listen at for TLS; empty: none")
	cert := flag.String("cert", "", "file of the certificate")
	key := flag.String("key", "", "file of its key")
	dir := flag.String("dir", ".", "folder of the databases")
	flag.Parse()
	if err := run(ferretdb.ListenerConfig{TCP: *listen, TLS: *secure, TLSCertFile: *cert, TLSKeyFile: *key}, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func run(listener ferretdb.ListenerConfig, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	db, err := ferretdb.New(&ferretdb.Config{
		Listener: listener, Handler: "sqlite", SQLiteURL: "file:" + dir + "/",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return fmt.Errorf("start FerretDB: %w", err)
	}
	return db.Run(ctx)
}
