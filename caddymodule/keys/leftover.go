package keys

import "regexp"

// leftovers are the names that editors (emacs, vim, nano), patch, sed -i and package managers
// (rpm, pacman, apk, dpkg, ucf) give to a file as it was, or is not yet. A number or a date
// may follow.
var leftovers = regexp.MustCompile(`(?i)~$|^#.*#$|.\.(?:bak|backup|orig|old|save|sw[a-p]|te?mp|rpm(?:save|new|orig)|pac(?:save|new|orig)|(?:apk|dpkg|ucf)-[a-z]+)[-._0-9]*$`)

// Leftover reports whether a file's name is that of a backup. A key that was removed or
// replaced may live on in it, so it is no key file of a folder.
func Leftover(name string) bool { return leftovers.MatchString(name) }

// LeftoverUnused is the warning for a folder with such files.
const LeftoverUnused = "files in a folder of keys are named like the backups of editors and package managers, so their keys are not used: remove them, or rename one whose key is in use"
