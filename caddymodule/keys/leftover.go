package keys

import (
	"regexp"
	"strings"
)

// backupName matches the names that editors (emacs, vim, nano), patch, sed -i and package managers
// (rpm, pacman, apk, dpkg, ucf) give to a file as it was, or is not yet. A number or a date
// may follow.
var backupName = regexp.MustCompile(`(?i)~$|^#.*#$|.\.(?:bak|backup|orig|old|save|sw[a-p]|te?mp|rpm(?:save|new|orig)|pac(?:save|new|orig)|(?:apk|dpkg|ucf)-[a-z]+)[-._0-9]*$`)

// leftovers are other names of files that are a key file as it was, or is not yet.
var leftovers = regexp.MustCompile(`(?i)` + strings.Join([]string{
	// Backups of people, Kate, patch, portage and Augeas.
	`.\.(?:back|bc?k|bkp|original|kate-swp|rej|lock|cfgsaved|aug(?:save|new))[-._0-9]*$`,
	// Transfers that have not ended (WinSCP, rclone, browsers).
	`.\.(?:part|partial|filepart|crdownload)[-._0-9]*$`,
	// A key that somebody took out of use.
	`.\.(?:disabled|revoked)[-._0-9]*$`,
	// Copies that file managers make: Copy of current, current - Copy (2).pem, current (1).
	`^copy (?:\d+ )?of .`, `.(?: - copy| copy| copy \d+| ?\((?:\d+|copy|copy \d+|another copy|\d+(?:st|nd|rd|th) copy)\))(?:\.[a-z0-9]+)?$`,
}, "|"))

// sedLeftover is the name of the new file of GNU sed -i, which stays if sed is killed.
var sedLeftover = regexp.MustCompile(`^sed[A-Za-z0-9]{6}$`)

// Backup reports whether a file's name is that of a backup of an editor or a package
// manager.
func Backup(name string) bool { return backupName.MatchString(name) }

// Leftover reports whether a file's name is that of a backup, a copy or half a file. A key
// that was removed or replaced may live on in it, so it is no key file of a folder.
func Leftover(name string) bool {
	return Backup(name) || leftovers.MatchString(name) || sedLeftover.MatchString(name) && name != strings.ToLower(name) // sedgewick is a name
}

// LeftoverUnused is the warning for a folder with such files.
const LeftoverUnused = "files in a folder of keys are named like the backups of editors and package managers, copies, or unfinished transfers, so their keys are not used: remove them, or rename one whose key is in use"
