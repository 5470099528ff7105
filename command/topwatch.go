package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The size of a terminal that does not tell it.
const (
	usualWidth  = 80
	usualHeight = 24
)

// errQuit ends the screen as the user wants it.
var errQuit = errors.New("quit")

// topReading is one reading, or why it did not work.
type topReading struct {
	shown topShown
	err   error
}

// watchTop reads and draws until ctx ends or the user quits. A first reading that does not work is an error; later ones are noted, and tried again.
func watchTop(ctx context.Context, source *topSource, o topOptions, out *screen, state topState) (err error) {
	first, err := source.read(ctx, state.view, true)
	if err != nil {
		return err
	}
	keys := make(chan string)
	views := make(chan string, 1)
	readings := make(chan topReading)
	g, ctx := errgroup.WithContext(ctx)
	if out.terminal && o.output != "json" {
		restore, rawErr := rawInput(stdin())
		if rawErr == nil {
			defer func() { err = errors.Join(err, restore()) }()
			g.Go(func() error { return readTerminal(ctx, stdin(), keys) })
		}
		defer func() { err = errors.Join(err, out.close()) }()
	}
	g.Go(func() error { return readAgain(ctx, source, o.interval, state.view, views, readings) })
	g.Go(func() error { return drawTop(ctx, o, out, state, first, keys, views, readings) })
	if err = g.Wait(); errors.Is(err, errQuit) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// readAgain reads the view that is looked at, each interval and when it changes.
func readAgain(ctx context.Context, source *topSource, interval time.Duration, view string, views <-chan string, to chan<- topReading) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		fresh := true
		select {
		case <-ctx.Done():
			return nil
		case view = <-views:
			fresh = false
		case <-tick.C:
		}
		shown, err := source.read(ctx, view, fresh)
		select {
		case <-ctx.Done():
			return nil
		case to <- topReading{shown, err}:
		}
	}
}

// drawTop is the loop of the screen.
func drawTop(ctx context.Context, o topOptions, out *screen, state topState, shown topShown, keys <-chan string, views chan string, readings <-chan topReading) error {
	for {
		if err := drawOnce(o, out, &state, shown); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case r := <-readings:
			switch {
			case r.err != nil:
				shown.note = "The last reading did not work: " + r.err.Error()
			case r.shown.document.View == state.view:
				shown = r.shown
			}
		case key := <-keys:
			before := state.view
			if state.press(key) {
				return errQuit
			}
			if state.view != before {
				select { // what is still to be asked for is replaced
				case <-views:
				default:
				}
				views <- state.view
				shown.document.Rows, shown.note = nil, "Reading "+state.view+" ..."
			}
		}
	}
}

func drawOnce(o topOptions, out *screen, state *topState, shown topShown) error {
	switch {
	case o.output == "json":
		if err := printTop(out, o, *state, shown); err != nil {
			return asBroken(err)
		}
		return nil
	case !out.terminal:
		return asBroken(out.write([]byte(topHead(*state, &shown.document) + "\n" + topTable(*state, shown, false) + "\n")))
	}
	width, height := usualWidth, usualHeight
	if size, err := unix.IoctlGetWinsize(out.fd, unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
		width, height = int(size.Col), int(size.Row)
	}
	return asBroken(out.draw(topScreen(*state, shown, width, height)))
}

// rawInput makes a terminal give each key at once and show none. The function that it returns undoes that.
func rawInput(f *os.File) (func() error, error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's settings: %w", err)
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("change the terminal's settings: %w", err)
	}
	return func() error {
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, before); err != nil {
			return fmt.Errorf("restore the terminal's settings: %w", err)
		}
		return nil
	}, nil
}

// readTerminal sends keys until ctx ends. It looks for the end ten times a second.
func readTerminal(ctx context.Context, f *os.File, to chan<- string) error {
	buffer := make([]byte, 256)
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 100)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for a key: %w", err)
		}
		n, err = unix.Read(int(f.Fd()), buffer)
		if err != nil || n == 0 {
			return errQuit // the terminal is gone
		}
		for _, key := range readKeys(buffer[:n]) {
			select {
			case <-ctx.Done():
				return nil
			case to <- key:
			}
		}
	}
	return nil
}
