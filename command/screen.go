package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// The terminal's control sequences (ECMA-48) that are used.
const (
	escHome      = "\x1b[H"
	escClearLine = "\x1b[K"
	escClearDown = "\x1b[J"
	escOtherOn   = "\x1b[?1049h\x1b[?25l" // the alternate screen, without a cursor
	escOtherOff  = "\x1b[?25h\x1b[?1049l"
	escReset     = "\x1b[0m"
	escDim       = "\x1b[2m"
	escRed       = "\x1b[31m"
	escYellow    = "\x1b[33m"
)

// screen is where output goes: a terminal, or a pipe that gets neither colours nor cursor movements.
type screen struct {
	w        io.Writer
	fd       int // of the terminal, else -1
	colour   bool
	drawing  bool
	terminal bool
}

func newScreen(w io.Writer, environ []string) *screen {
	s := &screen{w: w, fd: -1}
	f, ok := w.(*os.File)
	if !ok {
		return s
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return s
	}
	s.fd, s.terminal = int(f.Fd()), true
	s.colour = lookup(environ, "NO_COLOR") == "" && lookup(environ, "TERM") != "dumb"
	return s
}

func (s *screen) write(text []byte) error {
	if _, err := s.w.Write(text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// draw replaces what the terminal shows, cut to its height; a pipe gets one text after the other, with an empty line between.
func (s *screen) draw(text string) error {
	if !s.terminal {
		return s.write([]byte(text + "\n"))
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if size, err := unix.IoctlGetWinsize(s.fd, unix.TIOCGWINSZ); err == nil && size.Row > 1 && len(lines) > int(size.Row) {
		more := len(lines) - int(size.Row) + 1
		lines = append(lines[:int(size.Row)-1], fmt.Sprintf("... %d more lines; --namespace shows fewer", more))
	}
	var b strings.Builder
	if !s.drawing {
		b.WriteString(escOtherOn)
		s.drawing = true
	}
	b.WriteString(escHome + strings.Join(lines, escClearLine+"\r\n") + escClearLine + escClearDown)
	return s.write([]byte(b.String()))
}

// close gives the terminal back as it was before draw.
func (s *screen) close() error {
	if !s.drawing {
		return nil
	}
	s.drawing = false
	return s.write([]byte(escOtherOff))
}

// printable replaces what could command a terminal: names come from programs that we only watch.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
