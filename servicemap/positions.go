package servicemap

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Bounds of what is remembered.
const (
	maxRemembered     = 20_000             // nodes; those on the present map stay even beyond it
	rememberFor       = 7 * 24 * time.Hour // a node that is not seen
	maxPositionsBytes = 16 << 20
	seenGrain         = 3600 // seconds; a node that is merely still there makes the file be written no more often

	positionsVersion = 1
)

// The picture is drawn anew only when it has outgrown its frame: it is large and has at least four times the nodes of the last drawing.
// So growth from 1 to 1,000 nodes moves the nodes at most twice.
const (
	redrawAtLeast = 64
	redrawGrowth  = 4
)

// positions remembers where each node is.
type positions struct {
	file string
	log  *slog.Logger
	now  func() time.Time

	mu       sync.Mutex
	places   map[string]place
	drawn    int // nodes on the map when it was last drawn as a whole
	changed  bool
	readOnly bool // the file is of a newer version and must stay as it is
}

// place is where a node is. Its group is remembered with it: an outside address that changes from caller to server keeps its place.
type place struct {
	cell  cell
	group string
	seen  int64 // Unix seconds
}

// positionsFile is the content of the file, described in docs/formats/positions.md.
type positionsFile struct {
	Version int             `json:"version"`
	Drawn   int             `json:"drawn"`
	Nodes   []positionsNode `json:"nodes"`
}

type positionsNode struct {
	ID    string `json:"id"`
	Group string `json:"group"`
	Col   int    `json:"col"`
	Row   int    `json:"row"`
	Seen  int64  `json:"seen"`
}

func newPositions(file string, log *slog.Logger, now func() time.Time) (*positions, error) {
	p := &positions{file: file, log: log, now: now, places: map[string]place{}}
	if file == "" {
		return p, nil
	}
	err := p.load()
	var newer newerVersionError
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return p, nil
	case errors.As(err, &newer):
		p.readOnly = true
		log.Warn("map positions are not kept in this run", "file", file, "error", err)
		return p, nil
	case errors.Is(err, errCorruptPositions):
		aside := fmt.Sprintf("%s.corrupt-%d", file, now().Unix())
		log.Warn("set map positions aside", "file", file, "to", aside, "error", err)
		if err := os.Rename(file, aside); err != nil {
			return nil, fmt.Errorf("set map positions aside: %w", err)
		}
		return p, nil
	default:
		return nil, fmt.Errorf("read map positions: %w", err)
	}
}

var errCorruptPositions = errors.New("corrupt positions file")

type newerVersionError int

func (v newerVersionError) Error() string {
	return fmt.Sprintf("the file has version %d, this program knows %d", int(v), positionsVersion)
}

func (p *positions) load() error {
	f, err := os.Open(p.file)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPositionsBytes+1))
	if err != nil {
		return err
	}
	content, err := parsePositions(data)
	if err != nil {
		return err
	}
	p.drawn = content.Drawn
	for _, n := range content.Nodes {
		p.places[n.ID] = place{cell{n.Col, n.Row}, n.Group, n.Seen}
	}
	return nil
}

// parsePositions checks all that the layout relies on: known version, sane numbers, one node a cell, each in a group.
func parsePositions(data []byte) (positionsFile, error) {
	var content positionsFile
	if len(data) > maxPositionsBytes {
		return content, fmt.Errorf("%w: larger than %d bytes", errCorruptPositions, maxPositionsBytes)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return content, fmt.Errorf("%w: %w", errCorruptPositions, err)
	}
	if head.Version > positionsVersion {
		return content, newerVersionError(head.Version)
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return content, fmt.Errorf("%w: %w", errCorruptPositions, err)
	}
	if content.Version != positionsVersion || content.Drawn < 0 || len(content.Nodes) > 2*maxRemembered {
		return content, fmt.Errorf("%w: version %d, %d drawn, %d nodes", errCorruptPositions, content.Version, content.Drawn, len(content.Nodes))
	}
	const far = 1_000_000
	taken, ids := map[cell]bool{}, map[string]bool{}
	for _, n := range content.Nodes {
		at := cell{n.Col, n.Row}
		if n.ID == "" || n.Group == "" || ids[n.ID] || taken[at] || max(n.Col, n.Row) > far || min(n.Col, n.Row) < -far {
			return content, fmt.Errorf("%w: node %q at %d,%d", errCorruptPositions, n.ID, n.Col, n.Row)
		}
		taken[at], ids[n.ID] = true, true
	}
	return content, nil
}

// place sets X and Y of all nodes. Nodes that were ever placed and are remembered keep their place.
func (p *positions) place(m *Map) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now().Unix()
	known := 0
	for _, n := range m.Nodes {
		if at, ok := p.places[n.ID]; ok {
			known++
			p.changed = p.changed || at.seen+seenGrain < now
			at.seen = max(at.seen, now)
			p.places[n.ID] = at
		}
	}
	if known < len(m.Nodes) {
		p.extend(m, known, now)
		p.changed = true
	}
	for i := range m.Nodes {
		at := p.places[m.Nodes[i].ID].cell
		m.Nodes[i].X, m.Nodes[i].Y = float64(at.col)*CellWidth, float64(at.row)*CellHeight
	}
}

// extend finds places for the nodes that have none.
func (p *positions) extend(m *Map, known int, now int64) {
	s := sketchOf(m)
	var cells []cell
	if known == 0 || len(m.Nodes) >= redrawAtLeast && len(m.Nodes) >= redrawGrowth*p.drawn {
		cells = s.draw()
		p.drawn = len(m.Nodes)
	} else {
		present := make(map[string]bool, len(s.ids))
		for i, id := range s.ids {
			present[id] = true
			if at, ok := p.places[id]; ok {
				s.groups[i] = at.group
			}
		}
		absent := map[cell]bool{}
		for id, at := range p.places {
			if !present[id] {
				absent[at.cell] = true
			}
		}
		c := newCanvas(s, func(i int) (cell, bool) {
			at, ok := p.places[s.ids[i]]
			return at.cell, ok
		}, func(at cell) bool { return absent[at] })
		c.addMissing()
		cells = c.cells
	}
	p.remember(s, cells, now)
}

// remember keeps the new places and forgets absent nodes whose cell is now another's, that were not seen for long, or are too many.
func (p *positions) remember(s *sketch, cells []cell, now int64) {
	owner := make(map[cell]string, len(cells))
	for i, id := range s.ids {
		owner[cells[i]] = id
		p.places[id] = place{cells[i], s.groups[i], now}
	}
	present := make(map[string]bool, len(s.ids))
	for _, id := range s.ids {
		present[id] = true
	}
	var absent []string
	for id, at := range p.places {
		switch {
		case present[id]:
		case owner[at.cell] != "", now-at.seen > int64(rememberFor.Seconds()):
			delete(p.places, id)
		default:
			absent = append(absent, id)
		}
	}
	if excess := len(p.places) - maxRemembered; excess > 0 {
		slices.SortFunc(absent, func(a, b string) int {
			return cmp.Or(cmp.Compare(p.places[a].seen, p.places[b].seen), cmp.Compare(a, b))
		})
		for _, id := range absent[:min(excess, len(absent))] {
			delete(p.places, id)
		}
	}
}

// save writes the file if anything changed, so that a crash leaves either the old or the new one.
func (p *positions) save() error {
	data, err := p.snapshot()
	if err != nil || data == nil {
		return err
	}
	if err := replaceFile(p.file, data); err != nil {
		p.mu.Lock()
		p.changed = true
		p.mu.Unlock()
		return fmt.Errorf("save map positions: %w", err)
	}
	return nil
}

func (p *positions) snapshot() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == "" || p.readOnly || !p.changed {
		return nil, nil
	}
	p.changed = false
	content := positionsFile{Version: positionsVersion, Drawn: p.drawn, Nodes: make([]positionsNode, 0, len(p.places))}
	for _, id := range slices.Sorted(maps.Keys(p.places)) {
		at := p.places[id]
		content.Nodes = append(content.Nodes, positionsNode{id, at.group, at.cell.col, at.cell.row, at.seen})
	}
	if len(content.Nodes) > 2*maxRemembered {
		content.Nodes = content.Nodes[:2*maxRemembered]
	}
	return json.Marshal(content)
}

func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
