package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vetch-dev/vetch/servicemap"
)

// errBrokenOutput ends the watch: a reader that is gone does not come back.
var errBrokenOutput = errors.New("output is closed")

// watchMap draws each map that the server streams until ctx ends. A server that goes away is asked again every second; one that
// does not answer at first is an error.
func watchMap(ctx context.Context, c *client, o mapOptions, out *screen, show func(*servicemap.Map) string) (err error) {
	defer func() { err = errors.Join(err, out.close()) }()
	last, seen := "", false
	draw := func(raw []byte) error {
		seen = true
		if o.output == "json" {
			var line bytes.Buffer
			if err := json.Compact(&line, raw); err != nil {
				return fmt.Errorf("read the map: %w", err)
			}
			return asBroken(out.write(append(line.Bytes(), '\n')))
		}
		m, err := decodeMap(raw)
		if err != nil {
			return err
		}
		last = show(m)
		return asBroken(out.draw(watchHead(o, m.End) + last))
	}
	for {
		err := c.streamMaps(ctx, o, draw)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errBrokenOutput) || !seen {
			return err
		}
		if out.terminal && o.output != "json" {
			note := fmt.Sprintf("Connection to %s lost; trying again every second.\n\n", c.base.Redacted())
			if err := out.draw(note + last); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func asBroken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errBrokenOutput, err)
}

func watchHead(o mapOptions, end time.Time) string {
	head := fmt.Sprintf("%s, last %s", end.Local().Format(time.TimeOnly), o.window)
	if o.namespace != "" {
		head += ", namespace " + printable(o.namespace)
	}
	return head + " (Ctrl-C ends)\n\n"
}
