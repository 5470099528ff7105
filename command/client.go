package command

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/servicemap"
)

// maxAnswer bounds what is read of one answer: a map of 10,000 edges has about 5 MB.
const maxAnswer = 64 << 20

// client asks a running server.
type client struct {
	base *url.URL
	http *http.Client
}

func newClient(base *url.URL, caFile string) (*client, error) {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ResponseHeaderTimeout: 30 * time.Second,
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, wrongConfig(fmt.Errorf("read --ca-file: %w", err))
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, wrongConfig(fmt.Errorf("read --ca-file: %s holds no certificate", caFile))
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &client{base, &http.Client{Transport: transport}}, nil
}

// get asks path below the server's address. The caller closes the body. Any status but 200 is an error with the server's own words.
func (c *client) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the URL may hold a password
		}
		return nil, fmt.Errorf("no answer from %s (is \"vetch run\" running there?): %w", c.base.Redacted(), err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

func answerError(resp *http.Response) error {
	var e struct {
		Error string `json:"error"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it is enough
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = printable(strings.TrimSpace(string(body[:min(len(body), 200)])))
	}
	return fmt.Errorf("the server answers %s: %s", resp.Status, printable(e.Error))
}

// fetchMap returns the map, and its JSON as the server sent it.
func (c *client) fetchMap(ctx context.Context, o mapOptions) ([]byte, *servicemap.Map, error) {
	q := url.Values{"start": {"-" + o.window}}
	if o.namespace != "" {
		q.Set("namespace", o.namespace)
	}
	resp, err := c.get(ctx, "/api/map", q)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the map: %w", err)
	}
	if len(raw) > maxAnswer {
		return nil, nil, fmt.Errorf("read the map: larger than %d MiB; narrow it with --namespace", maxAnswer>>20)
	}
	m, err := decodeMap(raw)
	return append(bytes.TrimSpace(raw), '\n'), m, err
}

func decodeMap(raw []byte) (*servicemap.Map, error) {
	m := new(servicemap.Map)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("read the map: %w", err)
	}
	return m, nil
}

// streamMaps calls got with each map, as JSON, until the stream or ctx ends.
func (c *client) streamMaps(ctx context.Context, o mapOptions, got func([]byte) error) error {
	q := url.Values{"range": {o.window}}
	if o.namespace != "" {
		q.Set("namespace", o.namespace)
	}
	resp, err := c.get(ctx, "/api/map/stream", q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := readEvents(resp.Body, "map", got); err != nil {
		return fmt.Errorf("follow the map: %w", err)
	}
	return nil
}

// readEvents reads server-sent events (the WHATWG HTML standard, section "Server-sent events") and calls got with the data of
// those of one name. It returns nil at the end of the stream.
func readEvents(r io.Reader, name string, got func([]byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxAnswer)
	event, data := "", []byte(nil)
	for lines.Scan() {
		field, value, _ := bytes.Cut(bytes.TrimSuffix(lines.Bytes(), []byte("\r")), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(field) == 0 && len(lines.Bytes()) <= 1: // an empty line ends the event
			if event == name && len(data) > 0 {
				if err := got(data); err != nil {
					return err
				}
			}
			event, data = "", nil
		case string(field) == "event":
			event = string(value)
		case string(field) == "data":
			if len(data)+len(value) > maxAnswer {
				return bufio.ErrTooLong
			}
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
	}
	return lines.Err()
}
