package template

import (
	"slices"
	"strings"
)

// A Slot is a kind of text that a message takes from a delivery.
type Slot uint8

// The slots and their texts. None is literal text.
const (
	None            Slot = iota
	Body                 // the raw body
	Timestamp            // the scheme's timestamp as sent
	ID                   // the delivery id
	Secret               // the receiver's secret, as bytes
	Method               // of the request
	URL                  // origin, path and query
	URLNoQuery           // origin and path
	URI                  // path and query
	Path                 // of the URL, without the query
	Query                // of the URL, as received
	QueryParam           // the decoded value of a parameter of the URL
	QuerySorted          // its pairs in order of their names
	Host                 // of the request
	FormSorted           // names and values of a form's fields, sorted, without separators
	URLFormSorted        // the URL with its query sorted, then a form in the same way
	URIEncodedTwice      // path and query, the query escaped, then both escaped again
	FormPHP              // a form's fields as PHP serializes them
	FormPairs            // a form's fields but some as name=value, sorted, with &
	Header               // a header's value
	SignedHeaders        // headers that a header lists
	KV                   // the value of a key beside the signature
	KVHeaders            // a list of headers in such a value, and their values
	JSON                 // a scalar of a JSON body
	Form                 // a field of a form
	BodyDigest           // empty: a parameter of the URL must be the body's digest
	Param                // a configured value: see Template.With
	ListedHeaders        // headers that a JWS lists
	JSONLines            // members of a JSON body, one per line
	JSONIs               // empty: a scalar of a JSON body must have this text
	JSONPairs            // members of an object but some as name=value, sorted, with commas
)

// Facts are the properties of a slot.
type Facts struct {
	Name     string   // in templates
	argument argument // after the colon
	chosen   chosen   // who chooses its text, unless a filter fixes its form

	Origin bool // holds scheme and host of the URL, or the host
	Path   bool // holds the URL's path
	Query  bool // holds the URL's query
	Fields bool // holds all fields of a form
	Inside bool // read from the body's JSON or form
	Apart  bool // made of parts of the body, and not longer than it
	Joined bool // has no end that separates it from the following text
	Whole  bool // is a message by itself, without filters
}

// argument is the kind of text after a slot's colon.
type argument uint8

const (
	noArgument argument = iota
	anyName
	headerName
	jsonPath
	memberList
	nameList  // of fields
	pathNames // a JSON path, then names of members
	pathText  // a JSON path and a text
)

// chosen says who chooses a slot's text.
type chosen uint8

const (
	bySelf   chosen = iota // its own form ends it, or the receiver chose it
	byAnyone               // anyone who sends the request
	byURI                  // anyone, in characters of a URI
	byClock                // the sender's clock: see Template.Guard
)

var facts = [...]Facts{
	Body:            {Name: "body"},
	Timestamp:       {Name: "timestamp", chosen: byClock},
	ID:              {Name: "id", chosen: byAnyone},
	Secret:          {Name: "secret"},
	Method:          {Name: "method"},
	URL:             {Name: "url", chosen: byURI, Origin: true, Path: true, Query: true},
	URLNoQuery:      {Name: "url_no_query", chosen: byURI, Origin: true, Path: true},
	URI:             {Name: "uri", chosen: byURI, Path: true, Query: true},
	Path:            {Name: "path", chosen: byURI, Path: true},
	Query:           {Name: "query", chosen: byURI, Query: true},
	QueryParam:      {Name: "query", argument: anyName, chosen: byAnyone},
	QuerySorted:     {Name: "query_sorted", chosen: byURI, Query: true},
	Host:            {Name: "host", chosen: byURI, Origin: true},
	FormSorted:      {Name: "form_sorted", Fields: true, Inside: true, Apart: true, Joined: true},
	URLFormSorted:   {Name: "url_form_sorted", Origin: true, Path: true, Query: true, Fields: true, Inside: true, Apart: true, Joined: true},
	URIEncodedTwice: {Name: "uri_encoded_twice", chosen: byURI, Path: true, Query: true},
	FormPHP:         {Name: "form_php", Fields: true, Inside: true, Apart: true},
	FormPairs:       {Name: "form_pairs", argument: nameList, Fields: true, Inside: true, Apart: true, Whole: true},
	Header:          {Name: "header", argument: headerName, chosen: byAnyone},
	SignedHeaders:   {Name: "signed_headers", argument: headerName, chosen: byAnyone},
	KV:              {Name: "kv", argument: anyName, chosen: byAnyone},
	KVHeaders:       {Name: "kv_headers", argument: anyName},
	JSON:            {Name: "json", argument: jsonPath, chosen: byAnyone, Inside: true},
	Form:            {Name: "form", argument: anyName, chosen: byAnyone, Inside: true, Apart: true},
	BodyDigest:      {Name: "body_digest", argument: anyName, Inside: true},
	Param:           {Name: "param", argument: anyName},
	ListedHeaders:   {Name: "jws_headers", argument: anyName},
	JSONLines:       {Name: "json_lines", argument: memberList, Inside: true, Apart: true, Whole: true},
	JSONIs:          {Name: "json_is", argument: pathText, Inside: true},
	JSONPairs:       {Name: "json_pairs", argument: pathNames, Inside: true, Apart: true, Whole: true},
}

// Facts returns the properties of s, which must not be changed; those of None are
// empty.
func (s Slot) Facts() *Facts { return &facts[s] }

// slotNames lists the names of all slots.
func slotNames() []string {
	var names []string
	for _, f := range facts[Body:] {
		names = append(names, f.Name)
	}
	return names
}

// slotList lists the slots in template syntax.
func slotList() string {
	var all []string
	for _, f := range facts[Body:] {
		name := f.Name
		if f.argument != noArgument {
			name += ":…"
		}
		all = append(all, "{"+name+"}")
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
