package command

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The keys that are no letters.
const (
	keyUp     = "up"
	keyDown   = "down"
	keyPgUp   = "page up"
	keyPgDown = "page down"
	keyHome   = "home"
	keyEnter  = "enter"
	keyEscape = "escape"
	keyErase  = "erase"
	keyQuit   = "quit"
)

// maxFilter bounds what is typed.
const maxFilter = 200

// escapes are the sequences that terminals send for keys (ECMA-48, xterm).
var escapes = map[string]string{
	"\x1b[A": keyUp, "\x1bOA": keyUp, "\x1b[B": keyDown, "\x1bOB": keyDown, "\x1b[5~": keyPgUp, "\x1b[6~": keyPgDown, "\x1b[H": keyHome, "\x1b[1~": keyHome,
}

// readKeys splits what a terminal sent into keys: a name above, or one character.
func readKeys(input []byte) (keys []string) {
	text := string(input)
next:
	for text != "" {
		if text[0] == '\x1b' {
			for sequence, key := range escapes {
				if rest, ok := strings.CutPrefix(text, sequence); ok {
					keys, text = append(keys, key), rest
					continue next
				}
			}
			if len(text) > 2 && text[1] == '[' { // another key: its sequence ends with a letter or ~
				end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' && r <= '~' })
				if end < 0 {
					return keys
				}
				text = text[end+3:]
				continue
			}
			keys, text = append(keys, keyEscape), text[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '\r' || r == '\n':
			keys = append(keys, keyEnter)
		case r == 0x7f || r == '\b':
			keys = append(keys, keyErase)
		case r == 3 || r == 4: // Ctrl-C, Ctrl-D
			keys = append(keys, keyQuit)
		case unicode.IsPrint(r) && r != utf8.RuneError:
			keys = append(keys, string(r))
		}
	}
	return keys
}

// press changes what is seen by a key. quit ends the program; another view is to be read anew.
func (s *topState) press(key string) (quit bool) {
	if s.typing && key != keyQuit {
		s.typed(key)
		return false
	}
	switch key {
	case keyQuit, "q":
		return true
	case "1", "2", "3", "4":
		s.view, s.top = topViews[key[0]-'1'], 0
	case "s":
		s.sort, s.top = s.nextSort(1), 0
	case "S":
		s.sort, s.top = s.nextSort(-1), 0
	case "r":
		s.reverse = !s.reverse
	case "/":
		s.typing = true
	case keyEscape:
		s.filter, s.top = "", 0
	case keyUp, "k":
		s.top = max(s.top-1, 0)
	case keyDown, "j":
		s.top++
	case keyPgUp:
		s.top = max(s.top-20, 0)
	case keyPgDown:
		s.top += 20
	case keyHome:
		s.top = 0
	}
	return false
}

func (s *topState) typed(key string) {
	switch {
	case key == keyEnter:
		s.typing = false
	case key == keyEscape:
		s.typing, s.filter = false, ""
	case key == keyErase:
		_, size := utf8.DecodeLastRuneInString(s.filter)
		s.filter = s.filter[:len(s.filter)-size]
	case utf8.RuneCountInString(key) == 1 && len(s.filter) < maxFilter:
		s.filter += key
	}
	s.top = 0
}

func (s *topState) nextSort(by int) string {
	names := sortNames()
	at := slices.Index(names, s.sort)
	return names[(at+by+len(names))%len(names)]
}
