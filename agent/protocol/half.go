package protocol

import "fmt"

// half is what a Conn remembers of one direction: when the message at hand began, and how long it is so far.
type half struct {
	open  bool  // a message has begun
	begin int64 // ns, its first byte
	end   int64 // ns, its last byte so far
	bytes int64 // of it, skipped ones too
}

// reader reads one message, or one part of it, from the front of b. It returns how long that part is, 0 to wait for more bytes.
// size may be more than len(b): what is not there is not needed. whole says that the message ends with this part.
type reader func(b []byte) (size int64, whole bool, err error)

// feed hands b to next part by part, keeps the times and sizes, and calls done for each whole message.
func (h *half) feed(b []byte, at int64, next reader, done func()) (consumed int, skip int64, err error) {
	for consumed < len(b) {
		if !h.open {
			*h = half{open: true, begin: at}
		}
		rest := b[consumed:]
		size, whole, err := next(rest)
		if err != nil {
			h.open = false
			return consumed, 0, err
		}
		if size == 0 {
			if len(rest) >= MaxBuffer {
				h.open = false
				return consumed, 0, fmt.Errorf("message longer than %d bytes: %w", MaxBuffer, ErrDesync)
			}
			return consumed, 0, nil
		}
		h.bytes += size
		h.end = at
		if whole {
			done()
			h.open = false
		}
		if over := size - int64(len(rest)); over > 0 {
			return len(b), over, nil
		}
		consumed += int(size)
	}
	return consumed, 0, nil
}

// pass lets n bytes of the message at hand go by, of which left are still to come; done is called if that was its end. It returns how many
// bytes behind them need not be shown.
func (h *half) pass(n, left, at int64, done func()) int64 {
	h.bytes += n + left
	h.end = at
	done()
	h.open = false
	return left
}

// asked makes the first half of an exchange from the request that h has just read.
func (h *half) asked(operation string) Exchange {
	return Exchange{Operation: operation, Begin: h.begin, RequestBytes: h.bytes}
}

// answered completes e with the response that h has just read. Hostile ends can begin an answer before its question.
func (h *half) answered(e Exchange, status string, failed bool) Exchange {
	e.Status, e.Failed, e.End, e.ResponseBytes = status, failed, max(h.end, e.Begin), h.bytes
	return e
}

// oneWay completes an exchange that has no response.
func oneWay(e Exchange) Exchange {
	e.OneWay, e.End = true, e.Begin
	return e
}

// cut completes an exchange whose connection ended.
func cut(e Exchange, at int64) Exchange {
	e.Cut, e.Failed, e.End = true, true, max(at, e.Begin)
	return e
}

// fifo holds the requests of a protocol that answers in order. It keeps at most MaxWaiting of them; those beyond still
// hold their place as a number, so that the answers of the others stay with their requests.
type fifo[T any] struct {
	items []T
	base  []T // the array of items from its beginning, empty; nil where that is large
	over  int64
}

const keptWaiting = 32 // places that a fifo keeps while nothing waits

// push says no when the place is only kept as a number.
func (f *fifo[T]) push(item T) bool {
	if f.over > 0 || len(f.items) >= MaxWaiting {
		f.over++
		return false
	}
	if len(f.items) == 0 {
		f.items = f.base
	}
	room := cap(f.items)
	if f.items = append(f.items, item); cap(f.items) != room { // another array
		f.base = nil
		if cap(f.items) <= keptWaiting {
			f.base = f.items[:0]
		}
	}
	return true
}

func (f *fifo[T]) head() *T {
	if len(f.items) == 0 {
		return nil
	}
	return &f.items[0]
}

// pop returns what waits longest. It says no if nothing waits, or only a number.
func (f *fifo[T]) pop() (item T, ok bool) {
	if len(f.items) == 0 {
		f.over = max(f.over-1, 0)
		return item, false
	}
	item = f.items[0]
	clear(f.items[:1])
	if f.items = f.items[1:]; len(f.items) == 0 {
		f.items = f.base // the array moves forward as it is used: begin it anew
	}
	return item, true
}

func (f *fifo[T]) idle() bool { return len(f.items) == 0 && f.over == 0 }

// lose is called when bytes were missed: which request the next answer belongs to is only sure if no more than one waits.
func (f *fifo[T]) lose() {
	if len(f.items) > 1 || f.over > 0 {
		*f = fifo[T]{}
	}
}

// table keeps at most MaxWaiting values by key and forgets the oldest first.
type table[K comparable, V any] struct {
	values map[K]V
	order  []K // may hold keys that have been taken since
}

// put returns the value that had to make room.
func (t *table[K, V]) put(key K, value V) (forgotten V, full bool) {
	if t.values == nil {
		t.values = map[K]V{}
	}
	if _, there := t.values[key]; !there && len(t.values) >= MaxWaiting {
		for !full && len(t.order) > 0 {
			forgotten, full = t.take(t.order[0])
			t.order = t.order[1:]
		}
	}
	t.values[key] = value
	if t.order = append(t.order, key); len(t.order) > 2*MaxWaiting {
		t.compact()
	}
	return forgotten, full
}

// compact drops keys that are gone or come again later.
func (t *table[K, V]) compact() {
	seen := make(map[K]bool, len(t.values))
	kept := make([]K, 0, MaxWaiting)
	for i := len(t.order) - 1; i >= 0; i-- {
		if _, there := t.values[t.order[i]]; there && !seen[t.order[i]] {
			seen[t.order[i]] = true
			kept = append(kept, t.order[i])
		}
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	t.order = kept
}

func (t *table[K, V]) take(key K) (V, bool) {
	v, ok := t.values[key]
	delete(t.values, key)
	return v, ok
}
