"""The routes of OpenAI's image API, translated into requests of ours."""
