package verifier

import (
	"bytes"
	"strings"
	"testing"
)

// content returns the slot's text for a body, or the rejection.
func content(t *testing.T, slot, body string) string {
	t.Helper()
	scheme := Scheme{Signature: &Signature{JSON: StringList{"Signature"}}, Message: StringList{slot}, BodyUnsigned: true}
	v, err := New(scheme, []Key{{Text: testKey}})
	if err != nil {
		t.Fatal(err)
	}
	c := Check{v: v, req: post()}
	var b bytes.Buffer
	if _, rej := c.write(&b, nil, v.messages[0], nil, []byte(body)); rej != nil {
		return rej.Error()
	}
	return b.String()
}

const linesOfSNS = "{json_lines:Message,MessageId,Subject?,Timestamp,Token?,Type}"

func TestJSONLines(t *testing.T) {
	const malformed = string(MalformedSignature)
	for name, tc := range map[string]struct{ body, want string }{
		"all":               {`{"Type":"N","Message":"hello","Subject":"s","MessageId":"1","Timestamp":"t","Token":"k"}`, "Message\nhello\nMessageId\n1\nSubject\ns\nTimestamp\nt\nToken\nk\nType\nN\n"},
		"without optional":  {`{"Message":"hello","MessageId":"1","Timestamp":"t","Type":"N"}`, "Message\nhello\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"escapes":           {` {"Message" : "a\nbä\u00e4\ud83d\ude00" , "MessageId":"1","Timestamp":"t","Type":"N"} `, "Message\na\nbää😀\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"empty text":        {`{"Message":"","MessageId":"1","Timestamp":"t","Type":"N"}`, "Message\n\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"others beside":     {`{"x":{"Message":[1]},"Message":"h","MessageId":"1","Timestamp":"t","Type":"N","Signature":"s"}`, "Message\nh\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"escaped name":      {`{"\u004dessage":"h","MessageId":"1","Timestamp":"t","Type":"N"}`, "Message\nh\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"missing":           {`{"Message":"h","Timestamp":"t","Type":"N"}`, malformed},
		"twice":             {`{"Message":"h","Message":"i","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"twice, one hidden": {`{"Message":"h","\u004dessage":"i","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"other case":        {`{"Message":"h","message":"i","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"other fold":        {`{"Message":"h","Me\u017fsage":"i","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"optional's case":   {`{"Message":"h","SUBJECT":"i","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"a line feed":       {`{"Message":"h","MessageId":"1\nSubject\nx","Timestamp":"t","Type":"N"}`, malformed},
		"one at the end":    {`{"Message":"h","MessageId":"1","Timestamp":"t","Type":"N\n"}`, malformed},
		"a number":          {`{"Message":"h","MessageId":1,"Timestamp":"t","Type":"N"}`, malformed},
		"optional null":     {`{"Message":"h","MessageId":"1","Subject":null,"Timestamp":"t","Type":"N"}`, "Message\nh\nMessageId\n1\nTimestamp\nt\nType\nN\n"},
		"null and a text":   {`{"Message":"h","MessageId":"1","Subject":null,"Subject":"s","Timestamp":"t","Type":"N"}`, malformed},
		"a text and null":   {`{"Message":"h","MessageId":"1","Subject":"s","Subject":null,"Timestamp":"t","Type":"N"}`, malformed},
		"null":              {`{"Message":"h","MessageId":null,"Timestamp":"t","Type":"N"}`, malformed},
		"an array":          {`[{"Message":"h","MessageId":"1","Timestamp":"t","Type":"N"}]`, malformed},
		"trailing comma":    {`{"Message":"h","MessageId":"1","Timestamp":"t","Type":"N", }`, malformed},
		"leading comma":     {`{,"Message":"h","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"text behind":       {`{"Message":"h","MessageId":"1","Timestamp":"t","Type":"N"}{}`, malformed},
		"a zero behind":     {"{\"Message\":\"h\",\"MessageId\":\"1\",\"Timestamp\":\"t\",\"Type\":\"N\"}\x00", malformed},
		"cut off":           {`{"Message":"h","MessageId":"1","Timestamp":"t","Type":"N"`, malformed},
		"invalid UTF-8":     {"{\"Message\":\"\xff\",\"MessageId\":\"1\",\"Timestamp\":\"t\",\"Type\":\"N\"}", malformed},
		"lone surrogate":    {`{"Message":"\ud83d","MessageId":"1","Timestamp":"t","Type":"N"}`, malformed},
		"empty object":      {`{}`, malformed},
		"nothing":           {``, malformed},
	} {
		if got := content(t, linesOfSNS, tc.body); got != tc.want && !(tc.want == malformed && strings.HasPrefix(got, malformed)) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestJSONLinesSplitOneWay puts the texts of one message, which a publisher can
// choose, into the members of another: no two bodies have the same content.
func TestJSONLinesSplitOneWay(t *testing.T) {
	texts := []string{"x", "", "x\nMessageId\n1", "x\nMessageId\n1\nSubject\nx", "Subject\nx", "x\nMessageId\n1\nTimestamp\nx\nToken\nx\nType\nx\nMessage\nx"}
	small := []string{"x", "1", "", "Subject", "Token", "Type", "MessageId", "Timestamp"}
	seen := make(map[string]string)
	add := func(body string) {
		got := content(t, linesOfSNS, body)
		if strings.HasPrefix(got, string(MalformedSignature)) {
			return
		}
		if other, again := seen[got]; again && other != body {
			t.Errorf("%s and %s are signed alike: %q", body, other, got)
		}
		seen[got] = body
	}
	for _, message := range texts {
		for _, id := range small {
			for _, subject := range append(small, "-") {
				for _, token := range append(small, "-") {
					body := `{"Message":` + quote(message) + `,"MessageId":` + quote(id)
					if subject != "-" {
						body += `,"Subject":` + quote(subject)
					}
					body += `,"Timestamp":"x"`
					if token != "-" {
						body += `,"Token":` + quote(token)
					}
					add(body + `,"Type":"x"}`)
				}
			}
		}
	}
	if len(seen) < 3000 {
		t.Errorf("only %d contents", len(seen))
	}
}

func quote(text string) string { return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"` }

func TestJSONLinesErrors(t *testing.T) {
	for message, want := range map[string]string{
		"{json_lines}":                       "needs a name",
		"{json_lines:}":                      "needs a name",
		"{json_lines:a,,b}":                  "write the members' names",
		"{json_lines:a,b,A}":                 "write the members' names",
		"{json_lines:a?,b}":                  "write the members' names",
		"{json_lines:a,b?}":                  "write the members' names",
		"{json_lines:a.b,c}":                 "write the members' names",
		"{json_lines:a,b}{json:c}":           "must be the whole message",
		"v1{json_lines:a,b}":                 "must be the whole message",
		"{json_lines:a,b|sha256|hex}":        "must be the whole message",
		"{json_lines:a,b|base64}{body}":      "must be the whole message",
		"{json_lines:a,b}\n{json_lines:c,d}": "must be the whole message",
	} {
		err := validate(Scheme{Signature: &Signature{JSON: StringList{"s"}}, Message: StringList{message}, BodyUnsigned: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", message, err, want)
		}
	}
	if err := validate(Scheme{Signature: &Signature{JSON: StringList{"s"}}, Message: StringList{linesOfSNS}}); err == nil {
		t.Error("other members are not signed: body_unsigned must say so")
	}
	signs := Scheme{Signature: &Signature{JSON: StringList{"s"}}, Message: StringList{linesOfSNS}, BodyUnsigned: true, DeliveryID: &DeliveryID{JSON: "MessageId"}}
	if !signsID(signs) {
		t.Error("MessageId is signed")
	}
	for _, unsigned := range []string{"Other", "Subject", "message", "a.MessageId"} { // anyone can add an optional one
		signs.DeliveryID = &DeliveryID{JSON: unsigned}
		if signsID(signs) {
			t.Errorf("%s is not signed", unsigned)
		}
		signs.Timestamp = &Timestamp{JSON: unsigned}
		if validate(signs) == nil {
			t.Errorf("a time in %s proves nothing", unsigned)
		}
		signs.Timestamp = nil
	}
}
