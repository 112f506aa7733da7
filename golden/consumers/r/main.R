suppressPackageStartupMessages(library(jsonlite))

folder <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))
for (name in c("bits", "digest", "norm", "double_double", "schedules", "sgd", "case", "check", "protocol")) {
  source(file.path(folder, paste0(name, ".R")))
}

arguments <- commandArgs(TRUE)
if (length(arguments) == 0) {
  serve()
} else if (arguments[1] == "--check" && length(arguments) > 1) {
  quit(status = check_files(arguments[-1]))
} else {
  message("usage: Rscript main.R                   answer to cases on standard input")
  message("       Rscript main.R --check FILE...   compare with golden files")
  quit(status = 2)
}
