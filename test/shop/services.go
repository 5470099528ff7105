package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// serveCatalog answers /items/ID with one query of the database each, over one connection.
func serveCatalog(ctx context.Context, listen, database string) error {
	var db *pgx.Conn
	err := patiently(ctx, func() (err error) {
		db, err = pgx.Connect(ctx, database)
		return err
	})
	if err != nil {
		return err
	}
	defer db.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the process ends
	var one sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		var name string
		if err := db.QueryRow(r.Context(), "SELECT name FROM items WHERE id = $1", pgx.QueryExecModeExec, 1).Scan(&name); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, r.PathValue("id"), name)
	})
	return serve(ctx, listen, mux)
}

// serveCart answers /carts/ID with one command to Redis each.
func serveCart(ctx context.Context, listen, address string) error {
	client := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1, PoolSize: 1})
	defer client.Close()
	if err := patiently(ctx, func() error { return client.Ping(ctx).Err() }); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /carts/{id}", func(w http.ResponseWriter, r *http.Request) {
		n, err := client.Incr(r.Context(), "cart:"+r.PathValue("id")).Result()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, n)
	})
	return serve(ctx, listen, mux)
}
