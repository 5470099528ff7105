package protocol

import "testing"

// BenchmarkStreams is one GET of Redis and its answer, each in a call of its own.
func BenchmarkStreams(b *testing.B) {
	s := NewStreams(Table())
	request, answer := []byte(resp("GET", "key:000000000001")), []byte("$3\r\nxxx\r\n")
	var pieces [8][2]Piece
	for i := range pieces {
		id := StreamID{Socket: uint64(i)<<6 + 0xffff888000000000, Opened: uint64(i)}
		pieces[i] = [2]Piece{{Stream: id, Pair: 7, Direction: FromClient, Data: request}, {Stream: id, Pair: 7, Direction: FromServer, Data: answer}}
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for d := range pieces[n%8] {
			p := &pieces[n%8][d]
			p.At += int64(1000 * (d + 1))
			s.Take(p)
			p.Seq += uint32(len(p.Data))
		}
		n++
	}
}
