package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"go.uber.org/zap"
)

// Exposed is logged of a file or folder of keys that other users may read or write.
const Exposed = "key file is accessible to other users"

// WarnIfExposed logs that other users may read or write the files that the value of an
// option names: {file./path}, alone or within a URL.
func WarnIfExposed(logger *zap.Logger, option, value string) {
	for _, part := range embedded.FindAllString(value, -1) {
		if path, ok := FilePath(part); ok {
			warnIfExposed(logger, option+" "+part, path, true)
		}
	}
}

// WarnIfFileExposed is WarnIfExposed for an option that is a path, "" for none. Others may
// read a file that is not private, such as a certificate.
func WarnIfFileExposed(logger *zap.Logger, option, path string, private bool) {
	if path != "" {
		warnIfExposed(logger, option+" "+path, path, private)
	}
}

func warnIfExposed(logger *zap.Logger, shown, path string, private bool) {
	if problem, dangerous := exposure(path); problem != "" && (private || dangerous) {
		logExposure(logger, shown, problem, dangerous)
	}
}

// logExposure warns of a file that others may write. One that they may read is not a
// warning: Docker and Kubernetes mount secrets that way, in containers without other users.
func logExposure(logger *zap.Logger, option, problem string, dangerous bool) {
	log := logger.Info
	if dangerous {
		log = logger.Warn
	}
	log(Exposed, zap.String("option", option), zap.String("problem", problem))
}

// exposure says whether other users may read or write a key file or directory; "" if
// not, or if the system does not tell. dangerous means that they can add a key.
func exposure(path string) (problem string, dangerous bool) {
	paths := []string{path}
	if names, _, err := keyFiles(path); err == nil {
		for _, name := range names {
			paths = append(paths, filepath.Join(path, name))
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil || runtime.GOOS == "windows": // modes mean nothing there
			continue
		case WritableByAll(path, info):
			return path + writable, true
		case problem == "" && !info.IsDir() && info.Mode().Perm()&0o004 != 0:
			problem = path + " is readable by every user of this machine: chmod o-r"
		}
	}
	return problem, false
}

const writable = " is writable by every user of this machine: chmod o-w"

// WarnOfFolder logs that every user of the machine may write a folder. It does not look at
// the files in it, of which there may be thousands.
func WarnOfFolder(logger *zap.Logger, option, path string) {
	if info, err := os.Stat(path); err == nil && WritableByAll(path, info) {
		logExposure(logger, option, path+writable, true)
	}
}

// WritableByAll reports whether every user of the machine may write the file at a path, or
// add one to the folder there, sticky or not. The kubelet mounts a Secret read-only, as a
// folder with the mode of /tmp: nobody may.
func WritableByAll(path string, info fs.FileInfo) bool {
	mode := info.Mode()
	return runtime.GOOS != "windows" && mode.Perm()&0o002 != 0 && !(mode.IsDir() && mode&fs.ModeSticky != 0 && mountedReadOnly(path))
}
