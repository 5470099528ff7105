package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
)

// askHTTP sends requests with net/http, one after the other.
func askHTTP(s settings, tally *conversation.Tally, _ *gate) error {
	client := s.shared
	if client == nil {
		client = newClient(s, tally)
		defer client.CloseIdleConnections()
	}
	body := bytes.Repeat([]byte("b"), s.body)
	start := time.Now()
	for i := range s.requests {
		if s.rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i) / s.rate * float64(time.Second)))))
		}
		t := s.targets[i%len(s.targets)]
		if err := askOnce(client, s, t, body, tally); err != nil {
			return err
		}
	}
	return nil
}

// newClient makes one that counts its connections and their bytes.
func newClient(s settings, tally *conversation.Tally) *http.Client {
	var protocols []string
	if s.http2 {
		protocols = []string{"h2"}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				tally.Opened()
				return conversation.Conn{Conn: conn, Tally: tally}, nil
			},
			DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return dialTLS(ctx, s.tls, address, tally, protocols...)
			},
			ForceAttemptHTTP2:  s.http2,
			DisableKeepAlives:  s.closing,
			DisableCompression: true,
			MaxIdleConns:       1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func askOnce(client *http.Client, s settings, t target, body []byte, tally *conversation.Tally) error {
	var content io.Reader
	if len(body) > 0 {
		content = bytes.NewReader(body)
	}
	scheme := "http://"
	if s.tls != "" {
		scheme = "https://"
	}
	request, err := http.NewRequest(t.method, scheme+s.address+t.path, content)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.GetBody = nil // so that nothing is sent twice unseen
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s %s: %w", t.method, t.path, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("read response of %s %s: %w", t.method, t.path, err)
	}
	tally.Request(t.method, pathOf(t.path), response.StatusCode, 1)
	return nil
}

func pathOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	return u.Path
}
