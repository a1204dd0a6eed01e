package keys

import (
	"fmt"
	"slices"
	"strconv"

	"go.uber.org/zap"
)

// A source is one configured value and its last usable texts.
type source struct {
	option string // the option that has it, for messages: "secret"
	label  string
	place  int // among the configured keys, from 1
	kind   valueKind
	name   string // variable or path
	use    use
	detail string // header or param name

	texts   []labelled
	waiting []labelled // what the last look found, which is not in use yet
	problem string     // why the file cannot be used now; "" if it can
	exposed string     // who else may read or write it, once that was logged
}

// use says what a value is for.
type use uint8

const (
	useSecret use = iota
	usePublicKey
	useHeader
	useParam
	useUpstream
)

// String names the source for a person: its option and where its text comes
// from, never the text.
func (s *source) String() string {
	switch s.kind {
	case envValue:
		return fmt.Sprintf("%s {env.%s}", s.option, s.name)
	case fileValue:
		return fmt.Sprintf("%s {file.%s}", s.option, s.name)
	}
	return s.option
}

func (s *source) isKey() bool { return s.use == useSecret || s.use == usePublicKey }

// keyLabel names a key: as the configuration does, as its file is called, or by
// its place in the configuration, which stays the same while files come and go.
// Never by anything of the key itself.
func (s *source) keyLabel(t labelled) string {
	switch {
	case s.label != "" && t.label != "":
		return s.label + "/" + t.label
	case s.label != "":
		return s.label
	case t.label != "":
		return t.label
	}
	return strconv.Itoa(s.place)
}

// reread reports whether a file's texts have changed and are usable. A change
// counts once two looks have found the same: between them a writer that does not
// rename, such as an editor or scp, has ended.
func (k *Set) reread(s *source) (changed bool) {
	texts, err := readFiles(s.name)
	unchanged := err == nil && slices.Equal(texts, s.texts)
	if settled := slices.Equal(texts, s.waiting); err == nil && !unchanged && k.started && !settled {
		s.waiting = texts
		return false
	}
	if s.waiting = nil; err == nil && !unchanged { // trying a key costs milliseconds
		err = k.usable(s, texts)
	}
	if err != nil {
		s.waiting = texts // tried again at each look, as a part of it may be elsewhere
		k.unusable(s, err)
		return false
	}
	if s.problem != "" {
		s.problem = ""
		k.logger.Info("key file can be used again", zap.Stringer("option", s))
	}
	if unchanged {
		return false
	}
	s.texts = texts
	k.warnIfExposed(s)
	return true
}

// unusable counts a failed look, and logs a new reason: once, not at every look.
func (k *Set) unusable(s *source, err error) {
	k.failed()
	problem := err.Error()
	if problem == s.problem {
		return
	}
	s.problem = problem
	consequence := "the last usable key stays in use"
	if len(s.texts) == 0 {
		consequence = "there is no earlier key to use in its place"
	}
	k.logger.Error("key file cannot be used", zap.Stringer("option", s), zap.Error(err), zap.String("consequence", consequence))
}

// warnIfExposed logs who else may read or write a key file, once a reason.
// Reading alone is no warning: Docker and Kubernetes mount secrets so, where there
// are no others.
func (k *Set) warnIfExposed(s *source) {
	problem, dangerous := exposure(s.name)
	if problem == s.exposed {
		return
	}
	if s.exposed = problem; problem == "" {
		return
	}
	log := k.logger.Info
	if dangerous {
		log = k.logger.Warn
	}
	log("key file is open to others", zap.Stringer("option", s), zap.String("problem", problem))
}
