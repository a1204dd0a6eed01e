package keys

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A source is one configured value.
type source struct {
	option string // for messages: "secret"
	label  string
	place  int // its position among the configured keys, from 1
	kind   valueKind
	name   string // of the variable or file
	use    use
	detail string // name of the header or param
	secret bool   // strangers must not guess it

	texts   []labelled
	whole   []labelled // of a file: the texts before they were divided into lines
	waiting []labelled // of a file: found by the last read, not in use yet
	problem string     // why the file cannot be used; "" if it can
	exposed string     // who else may read or write the file, as logged
	skipped []string   // files of a directory that are no keys: see Leftover
}

// use is the purpose of a value.
type use uint8

const (
	useSecret use = iota
	usePublicKey
	useHeader
	useParam
	useUpstream
)

// String names the option and the variable or file, never the text.
func (s *source) String() string {
	switch s.kind {
	case envValue:
		return fmt.Sprintf("%s {env.%s}", s.option, s.name)
	case fileValue:
		return fmt.Sprintf("%s {file.%s}", s.option, s.name)
	}
	return s.option
}

// secretHeader matches the names of headers whose values are secrets. An Event-Key is none.
var secretHeader = regexp.MustCompile(`(?i)(^|-)(authorization|(access|api|auth|bearer)?(token|secret|password|passphrase)|(access|api|auth|private|secret|shared|signing|webhook)-?key)$`)

// mustBeSecret reports whether strangers must not guess a value. A header's * lets any pass.
func mustBeSecret(use use, detail, value string) bool {
	return use == useSecret || use == useUpstream || use == useHeader && value != "*" && secretHeader.MatchString(detail)
}

func (s *source) isKey() bool { return s.use == useSecret || s.use == usePublicKey }

// keyLabel returns the configured label of a key, the name of its file in a directory,
// or its position in the configuration, which does not change with the files; behind it
// the line, from the second on. It never depends on the key itself.
func (s *source) keyLabel(t labelled) string {
	label := strconv.Itoa(s.place)
	switch {
	case s.use == useUpstream || s.use == useHeader:
		return s.option
	case s.label != "" && t.label != "":
		label = s.label + "/" + t.label
	case s.label != "":
		label = s.label
	case t.label != "":
		label = t.label
	}
	if t.line > 1 {
		label += "/" + strconv.Itoa(t.line)
	}
	return label
}

// key converts one of the source's texts into a key.
func (s *source) key(t labelled) verifier.Key {
	key := verifier.Key{Label: s.keyLabel(t), Text: t.text}
	if s.use == usePublicKey {
		key.Kind = verifier.PublicKey
	}
	return key
}

// parts are the secretParts of one of the source's texts.
func (k *Set) parts(s *source, t labelled) []string {
	return secretParts(t.text, s.use == useSecret && k.scheme.UsesBasic())
}

// reread rereads a file and reports whether a changed text is now in use. A change
// counts after two equal reads, because a writer that does not rename, such as an
// editor or scp, may be halfway through at the first.
func (k *Set) reread(s *source) (changed bool) {
	whole, skipped, err := readFiles(s.name)
	k.warnOfSkipped(s, skipped)
	unchanged := err == nil && slices.Equal(whole, s.whole)
	if settled := slices.Equal(whole, s.waiting); err == nil && !unchanged && k.started && !settled {
		s.waiting = whole
		return false
	}
	var texts []labelled
	if s.waiting = nil; err == nil && !unchanged { // compiling takes milliseconds
		texts, err = k.usableTexts(s, whole)
	}
	if err != nil {
		s.waiting = whole // tried again at each read: it may need another file that is missing
		k.unusable(s, err)
		return false
	}
	if s.problem != "" {
		s.problem = ""
		k.logger.Info("key file is usable again", zap.Stringer("option", s))
	}
	if unchanged {
		return false
	}
	s.whole, s.texts = whole, texts
	k.warnIfExposed(s)
	return true
}

// unusable counts a failed read. It logs each reason once, not at each read.
func (k *Set) unusable(s *source, err error) {
	k.countFailure()
	problem := err.Error()
	if problem == s.problem {
		return
	}
	s.problem = problem
	consequence := "the last usable key stays in use"
	if len(s.texts) == 0 {
		consequence = "there is no earlier key to use instead"
	}
	k.logger.Error("cannot use key file", zap.Stringer("option", s), zap.Error(err), zap.String("consequence", consequence))
}

// warnOfSkipped logs files that are skipped, each set of them once.
func (k *Set) warnOfSkipped(s *source, skipped []string) {
	if len(skipped) > 0 && !slices.Equal(skipped, s.skipped) {
		k.logger.Warn(LeftoverUnused, zap.Stringer("option", s), zap.Strings("files", skipped))
	}
	s.skipped = skipped
}

// warnIfExposed logs that other users may read or write a key file, each reason once.
func (k *Set) warnIfExposed(s *source) {
	problem, dangerous := exposure(s.name)
	if problem != "" && problem != s.exposed {
		logExposure(k.logger, s.String(), problem, dangerous)
	}
	s.exposed = problem
}
