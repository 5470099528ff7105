package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// report is what the driver says of one target, on a line of JSON.
type report struct {
	Target string // its URL
	Sent   int    // requests
	OK     int    // answers with status 200
}

// perConnection is after how many requests a connection is closed, so that a service spreads them.
const perConnection = 10

// drive sends a number of requests to each target ("POST http://cart/carts/1") and reports.
func drive(ctx context.Context, requests int, targets []string) error {
	client := &http.Client{Timeout: 30 * time.Second}
	for _, target := range targets {
		method, url, ok := strings.Cut(target, " ")
		if !ok {
			method, url = http.MethodGet, target
		}
		r := report{Target: url}
		for i := range requests {
			request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
			if err != nil {
				return fmt.Errorf("make request: %w", err)
			}
			request.Close = i%perConnection == perConnection-1
			r.Sent++
			response, err := client.Do(request)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				continue
			}
			if _, err := io.Copy(io.Discard, response.Body); err == nil && response.StatusCode == http.StatusOK {
				r.OK++
			}
			response.Body.Close()
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
