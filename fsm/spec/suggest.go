package spec

import "strings"

// didYouMean names the candidate that a misspelt word most resembles:
// "; did you mean X?", or nothing when none is close. Ties go to the first.
// Among very many candidates it does not look.
func didYouMean(word string, candidates []string) string {
	const tooMany = 1000
	if len(candidates) > tooMany || len(word) > tooMany {
		return ""
	}
	// Longer names may hold more slips; three is where guesses become silly.
	best, limit := "", min(3, 1+len(word)/4)
	folded := fold(word)
	for _, c := range candidates {
		if d := distance(folded, fold(c), limit); d <= limit {
			best, limit = c, d-1
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quote(best) + "?"
}

// fold makes letter case and the choice of separator no difference.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the number of single-character edits between a and b, or more
// than limit when it exceeds limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
