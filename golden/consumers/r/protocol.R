# Cases on standard input, trajectories on standard output, one line of JSON each.

serve <- function() {
  answer('{"protocol":1,"name":"golden-r","version":"1.0","language":"R","digests":true}')
  input <- file("stdin", "r")
  while (length(line <- readLines(input, 1)) > 0) {
    document <- fromJSON(line, simplifyVector = FALSE)
    records <- vapply(run(document), record_to_json, "")
    id <- toJSON(document$id, auto_unbox = TRUE)
    answer('{"id":', id, ',"trajectory":[', paste(records, collapse = ","), "]}")
  }
  close(input)
}

answer <- function(...) {
  cat(..., "\n", sep = "")
  flush(stdout())
}

array_to_json <- function(array, is_digest = FALSE) {
  shape <- paste(array$shape, collapse = ",")
  if (is_digest) {
    form <- '{"dtype":"%s","shape":[%s],"hash":%.0f,"window":"%s"}'
    return(sprintf(form, array$dtype, shape, hash_of(array), window_of(array)))
  }
  sprintf('{"dtype":"%s","shape":[%s],"bits":"%s"}', array$dtype, shape, to_bits(array$dtype, array$values))
}

number_to_json <- function(name, value) {
  if (is.null(value)) return(NULL)
  sprintf('"%s":%s', name, array_to_json(list(dtype = "float32", shape = c(), values = value)))
}

record_to_json <- function(optimizer) {
  arrays <- function(name) {
    sprintf('"%s":[%s]', name, paste(vapply(optimizer[[name]], array_to_json, "", optimizer$is_big), collapse = ","))
  }
  scaling <- if (!is.null(optimizer$loss_scaling)) {
    counter <- sprintf('"growth_counter":%.0f', optimizer$growth_counter)
    c(number_to_json("loss_scale", optimizer$loss_scale), counter)
  }
  parts <- c(
    arrays("variables"), arrays("velocities"), arrays("averages"), arrays("accumulators"),
    sprintf('"iterations":%.0f,"calls":%.0f', iterations(optimizer), optimizer$calls),
    scaling, number_to_json("learning_rate", optimizer$rate)
  )
  paste0("{", paste(parts, collapse = ","), "}")
}
