package command

import (
	"cmp"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// remedies say what to look at first where no hint is found. What else it may be
// is in docs/troubleshooting.md, under the reason.
var remedies = map[verifier.Reason]string{
	verifier.MissingSignature:   "set the secret at the sender, and see that no proxy in front drops the header; the other headers may name another sender",
	verifier.MalformedSignature: "compare the detail with the signature's header: its prefix, its encoding, its number of lines; or it is another sender's",
	verifier.MissingTimestamp:   "see that the sender sends its time with this kind of delivery, and that no proxy in front drops it",
	verifier.MalformedTimestamp: "compare the time with the scheme's unit: seconds, milliseconds, a date",
	verifier.StaleTimestamp:     "a retry that keeps its first time needs a longer tolerance; if every delivery is so, set the clocks by NTP",
	verifier.FutureTimestamp:    "set the clocks of this machine and of the sender by NTP",
	verifier.MissingHeader:      "compare require_header with what the sender sends, and see that no proxy in front drops it",
	verifier.HeaderMismatch:     "compare require_header with what the sender sends",
	verifier.HandshakeMismatch:  "compare the provider's param with what is set at the sender",
}

// firstRemedy is what is said where nothing explains a rejection.
func firstRemedy(reason string) string {
	text := cmp.Or(unexplained(reason), remedies[verifier.Reason(reason)], "no usual mistake explains it")
	return text + " (docs/troubleshooting.md#" + reason + ")"
}
