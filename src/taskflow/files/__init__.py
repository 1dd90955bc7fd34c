"""Files: uploaded by clients or made by jobs, of one namespace each, streamed in and out."""
