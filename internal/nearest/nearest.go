// Package nearest finds the word that a mistyped one was probably meant to be.
package nearest

// Of returns the known word with the fewest edits from word, "" if more than one edit
// and more than a third of the letters, rounded, are needed.
func Of(word string, known []string) string {
	best, least := "", max(1, (len(word)+1)/3)
	for _, k := range known {
		if d := distance(word, k); d < least || d == least && best == "" {
			best, least = k, d
		}
	}
	return best
}

// distance counts insertions, deletions and substitutions (Levenshtein 1965).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
