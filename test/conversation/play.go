package conversation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Traffic is what one end moved.
type Traffic struct {
	Sent     int64
	Received int64
}

// Play follows the script once as one end of conn. It returns an error where the other end said something else than the script.
// After a step that ends the connection conn is closed.
func Play(conn *net.TCPConn, as Speaker, s Script) (Traffic, error) {
	var moved Traffic
	buf := make([]byte, 256<<10)
	for i, step := range s.Steps {
		if step.From == as {
			n, err := say(conn, s, step)
			moved.Sent += n
			if err != nil {
				return moved, fmt.Errorf("script %s step %d: write: %w", s.Name, i, err)
			}
			if step.End == Close || step.End == Reset {
				return moved, nil
			}
			continue
		}
		n, err := hear(conn, s, step, buf)
		moved.Received += n
		if err != nil {
			return moved, fmt.Errorf("script %s step %d: read: %w", s.Name, i, err)
		}
		if step.End == Close || step.End == Reset {
			return moved, conn.Close()
		}
	}
	return moved, nil
}

func say(conn *net.TCPConn, s Script, step Step) (int64, error) {
	var sent int64
	for rest := step.Bytes; len(rest) > 0; {
		piece := rest
		if step.Split > 0 && len(piece) > step.Split {
			piece = piece[:step.Split]
		}
		n, err := send(conn, s.Send, piece)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
		rest = rest[n:]
	}
	switch step.End {
	case HalfClose:
		return sent, conn.CloseWrite()
	case Close:
		return sent, conn.Close()
	case Reset:
		if err := conn.SetLinger(0); err != nil {
			return sent, err
		}
		return sent, conn.Close()
	}
	return sent, nil
}

func hear(conn *net.TCPConn, s Script, step Step, buf []byte) (int64, error) {
	size := len(buf)
	if s.Piece > 0 {
		size = s.Piece
	}
	var heard int64
	for rest := step.Bytes; len(rest) > 0; {
		n, err := receive(conn, s.Read, buf[:min(size, len(rest))])
		heard += int64(n)
		if !bytes.Equal(buf[:n], rest[:n]) {
			return heard, fmt.Errorf("other bytes than the script's after %d", heard)
		}
		if err != nil {
			return heard, err
		}
		rest = rest[n:]
	}
	if step.End == Stay {
		return heard, nil
	}
	n, err := receive(conn, s.Read, buf)
	if n > 0 {
		return heard + int64(n), fmt.Errorf("%d bytes after the end", n)
	}
	if err == nil || errors.Is(err, io.EOF) || (step.End == Reset && errors.Is(err, syscall.ECONNRESET)) {
		return heard, nil
	}
	return heard, err
}

// Finish waits as the server for the client's close of a connection that no step ended, or closes it as the client.
func Finish(conn *net.TCPConn, as Speaker, s Script) error {
	if as == Server {
		buf := make([]byte, 4096)
		n, err := receive(conn, s.Read, buf)
		if n > 0 || (err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed)) {
			conn.Close()
			return fmt.Errorf("script %s: instead of the end: %d bytes, %w", s.Name, n, err)
		}
	}
	err := conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
